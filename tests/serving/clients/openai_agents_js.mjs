// client: OpenAI Agents SDK for JavaScript
// packages: @openai/agents@0.20.0 zod@4.6.7 openai@6.49.0 @modelcontextprotocol/client@2.4.0
import { readFileSync } from "node:fs";
// docs
import { Agent, OpenAIResponsesModel, run, setTracingDisabled } from "@openai/agents";
import OpenAI from "openai";

setTracingDisabled(true);
const client = new OpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: "KEY" });
const agent = new Agent({ name: "Reader", model: new OpenAIResponsesModel(client, "tiny") }); // or OpenAIChatCompletionsModel
// end
import { OpenAIChatCompletionsModel } from "@openai/agents";
import { z } from "zod";

const image = "data:image/png;base64," + readFileSync("figure.png", "base64");
const content = [{ type: "input_image", image }, { type: "input_text", text: "What is m∠B in triangle MBH?" }];
const asked = [{ role: "user", content }];

function read(answer, result) {
  const items = result.rawResponses.flatMap((response) => response.output);
  const thoughts = items.flatMap((item) => item.type === "reasoning" ? item.content.map((part) => part.text) : []).join("");
  const calls = items.flatMap((item) => item.providerData?.virc_tool_calls ?? []);
  return { answer, thoughts, calls };
}

async function ways(agent) {
  const whole = await run(agent, asked);
  const streamed = await run(agent, asked, { stream: true });
  let text = "";
  for await (const piece of streamed.toTextStream()) text += piece;
  const written = await run(agent.clone({ outputType: z.object({ degrees: z.string() }) }), asked);
  return {
    whole: read(whole.finalOutput, whole),
    stream: read(text, streamed),
    json_schema: { answer: written.finalOutput.degrees },
  };
}

const chat = agent.clone({ model: new OpenAIChatCompletionsModel(client, "tiny") });
console.log(JSON.stringify({ chat: await ways(chat), responses: await ways(agent) }));
