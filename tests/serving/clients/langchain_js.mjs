// client: LangChain.js
// packages: @langchain/openai@1.5.8 @langchain/core@1.4.0
import { readFileSync } from "node:fs";
// docs
import { ChatOpenAI } from "@langchain/openai";

const server = { model: "tiny", apiKey: "KEY", configuration: { baseURL: "http://127.0.0.1:8000/v1" } };
const model = new ChatOpenAI({ ...server, useResponsesApi: true });
// end

const url = "data:image/png;base64," + readFileSync("figure.png", "base64");
const content = [{ type: "image_url", image_url: { url } }, { type: "text", text: "What is m∠B in triangle MBH?" }];
const messages = [{ role: "user", content }];
const schema = { type: "object", title: "Angle", properties: { degrees: { type: "string" } }, required: ["degrees"] };

function read(message) {
  const thoughts = message.contentBlocks.map((block) => block.type === "reasoning" ? block.reasoning : "").join("");
  return { answer: message.text, thoughts };
}

async function ways(model) {
  let streamed;
  for await (const chunk of await model.stream(messages)) streamed = streamed ? streamed.concat(chunk) : chunk;
  const structured = async (method) => (await model.withStructuredOutput(schema, { method }).invoke(messages)).degrees;
  return {
    whole: read(await model.invoke(messages)),
    stream: read(streamed),
    json_schema: { answer: await structured("jsonSchema") },
    tool: { answer: await structured("functionCalling") },
  };
}

console.log(JSON.stringify({ chat: await ways(new ChatOpenAI(server)), responses: await ways(model) }));
