// client: Vercel AI SDK, @ai-sdk/openai
// packages: @ai-sdk/openai@4.0.118 ai@7.0.173
// note: `openai("tiny")` is the Responses API, whose second turn needs `providerOptions: { openai: { store: false } }`; `openai.chat("tiny")` loses the thoughts.
import { readFileSync } from "node:fs";
// docs
import { createOpenAI } from "@ai-sdk/openai";

const openai = createOpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: "KEY" });
// end
import { generateText, jsonSchema, Output, streamText, tool } from "ai";

const image = { type: "file", mediaType: "image/png", data: readFileSync("figure.png") };
const messages = [{ role: "user", content: [image, { type: "text", text: "What is m∠B in triangle MBH?" }] }];
const properties = { degrees: { type: "string" } };
const schema = jsonSchema({ type: "object", properties, required: ["degrees"], additionalProperties: false });

async function ways(model) {
  const whole = await generateText({ model, messages, include: { responseBody: true } });
  const thoughts = whole.reasoningText, calls = read(whole.response.body);
  const stream = streamText({ model, messages, includeRawChunks: true });
  const raw = [];
  for await (const part of stream.fullStream) if (part.type === "raw") raw.push(part.rawValue);
  const written = await generateText({ model, messages, output: Output.object({ schema }) });
  const tools = { angle: tool({ inputSchema: schema }) };
  const forced = await generateText({ model, messages, tools, toolChoice: "required" });
  return {
    whole: { answer: whole.text, thoughts, calls },
    stream: { answer: await stream.text, thoughts: await stream.reasoningText, calls: raw.flatMap(read) },
    json_schema: { answer: written.output.degrees },
    tool: { answer: forced.toolCalls[0].input.degrees },
  };
}

function read(body) { // the body of an answer, or with `includeRawChunks: true` a chunk of a stream
  const choice = body.choices?.[0];
  const items = body.type === "response.output_item.done" ? [body.item] : (body.output ?? []);
  return [choice?.message ?? choice?.delta ?? {}, ...items].flatMap((each) => each.virc_tool_calls ?? []);
}

async function again(providerOptions) {
  const { response } = await generateText({ model: openai("tiny"), messages });
  return generateText({ model: openai("tiny"), messages: [...messages, ...response.messages, ...messages], providerOptions });
}
const why = await again().catch((error) => error.message);
if (!why.includes?.("store: false")) throw new Error("what the note says of a second turn is no longer so");
await again({ openai: { store: false } });

console.log(JSON.stringify({ responses: await ways(openai("tiny")), chat: await ways(openai.chat("tiny")) }));
