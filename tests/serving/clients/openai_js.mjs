// client: openai for JavaScript
// packages: openai@7.57.0
// note: Use `stream: true`: the helper `chat.completions.stream()` keeps only the last tool call.
import { readFileSync } from "node:fs";
// docs
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: "KEY" });
// end

const QUESTION = "What is m∠B in triangle MBH?";
const url = "data:image/png;base64," + readFileSync("figure.png", "base64");
const schema = { type: "object", properties: { degrees: { type: "string" } }, required: ["degrees"] };
const content = [{ type: "image_url", image_url: { url } }, { type: "text", text: QUESTION }];
const chat = { model: "tiny", messages: [{ role: "user", content }] };
const create = (more) => client.chat.completions.create({ ...chat, ...more });

const message = (await client.chat.completions.create(chat)).choices[0].message;
const thoughts = message.reasoning_content, calls = message.virc_tool_calls; // of a stream: of each delta

const stream = { answer: "", thoughts: "", calls: [] };
for await (const chunk of await create({ stream: true })) {
  const delta = chunk.choices[0].delta;
  stream.answer += delta.content ?? "";
  stream.thoughts += delta.reasoning_content ?? "";
  stream.calls.push(...(delta.virc_tool_calls ?? []));
}
const helped = (await client.chat.completions.stream(chat).finalChatCompletion()).choices[0].message;
if (helped.virc_tool_calls.length !== 1) throw new Error("what the note says of the helper is no longer so");

const format = { type: "json_schema", json_schema: { name: "angle", schema } };
const text = (await create({ response_format: format })).choices[0].message.content;
const tools = [{ type: "function", function: { name: "angle", parameters: schema } }];
const called = (await create({ tools, tool_choice: "required" })).choices[0].message.tool_calls[0];

const input = [{ role: "user", content: [{ type: "input_image", image_url: url }, { type: "input_text", text: QUESTION }] }];
const asked = { model: "tiny", input };
const read = (response) => {
  const [reasoning, said] = response.output;
  const summary = reasoning.summary.map((part) => part.text).join("");
  return { answer: said.content[0].text, thoughts: summary, calls: said.virc_tool_calls };
};
const written = await client.responses.create({ ...asked, text: { format: { type: "json_schema", name: "angle", schema } } });

console.log(JSON.stringify({
  chat: {
    whole: { answer: message.content, thoughts, calls },
    stream,
    json_schema: { answer: JSON.parse(text).degrees },
    tool: { answer: JSON.parse(called.function.arguments).degrees },
  },
  responses: {
    whole: read(await client.responses.create(asked)),
    stream: read(await client.responses.stream(asked).finalResponse()),
    json_schema: { answer: JSON.parse(written.output_text).degrees },
  },
}));
