// client: Vercel AI SDK, @ai-sdk/openai-compatible
// packages: @ai-sdk/openai-compatible@3.0.92 ai@7.0.173
import { readFileSync } from "node:fs";
// docs
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const virc = createOpenAICompatible({
  name: "virc", baseURL: "http://127.0.0.1:8000/v1", apiKey: "KEY", supportsStructuredOutputs: true,
  metadataExtractor: { // without it the tool calls are lost
    extractMetadata: async ({ parsedBody }) => ({ virc: { calls: parsedBody.choices[0].message.virc_tool_calls ?? [] } }),
    createStreamExtractor: () => {
      const calls = [];
      const processChunk = (chunk) => calls.push(...(chunk.choices?.[0]?.delta.virc_tool_calls ?? []));
      return { processChunk, buildMetadata: () => ({ virc: { calls } }) };
    },
  },
});
// end
import { generateText, jsonSchema, Output, streamText, tool } from "ai";

const image = { type: "file", mediaType: "image/png", data: readFileSync("figure.png") };
const messages = [{ role: "user", content: [image, { type: "text", text: "What is m∠B in triangle MBH?" }] }];
const properties = { degrees: { type: "string" } };
const schema = jsonSchema({ type: "object", properties, required: ["degrees"], additionalProperties: false });
const model = virc("tiny");

const whole = await generateText({ model: virc("tiny"), messages });
const thoughts = whole.reasoningText, calls = whole.providerMetadata.virc.calls;
const stream = streamText({ model, messages });
const written = await generateText({ model, messages, output: Output.object({ schema }) });
const tools = { angle: tool({ inputSchema: schema }) };
const forced = await generateText({ model, messages, tools, toolChoice: "required" });

console.log(JSON.stringify({
  chat: {
    whole: { answer: whole.text, thoughts, calls },
    stream: {
      answer: await stream.text, thoughts: await stream.reasoningText, calls: (await stream.providerMetadata).virc.calls,
    },
    json_schema: { answer: written.output.degrees },
    tool: { answer: forced.toolCalls[0].input.degrees },
  },
}));
