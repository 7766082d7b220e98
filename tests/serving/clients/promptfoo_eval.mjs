// client: promptfoo
// packages: promptfoo@0.123.1 @libsql/linux-x64-gnu@0.5.29
// note: `openai:responses:tiny` writes the thoughts before the answer even with `showThinking: false`.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const config = `
# promptfooconfig.yaml
prompts:
  - |
    [{"role": "user", "content": [
      {"type": "image_url", "image_url": {"url": "{{image}}"}},
      {"type": "text", "text": "{{question}}"}
    ]}]
tests:
  - vars:
      image: file://figure.png
      question: What is m∠B in triangle MBH?
    assert:
      - type: equals
        value: "73"
# docs
providers:
  - id: openai:chat:tiny
    config:
      apiBaseUrl: http://127.0.0.1:8000/v1
      apiKey: KEY
      showThinking: false # else the thoughts are written before the answer
# end
`;
const provider = config.match(/  - id: [^]*?\n(?=# end)/)[0];
const others = [provider.replace("Thinking: false", "Thinking: true"), provider.replace("openai:chat", "openai:responses")];
const offline = { PROMPTFOO_DISABLE_TELEMETRY: "1", PROMPTFOO_DISABLE_UPDATE: "1", PROMPTFOO_DISABLE_REMOTE_GENERATION: "1" };

writeFileSync("promptfooconfig.yaml", config + others.join(""));
const words = ["eval", "--no-cache", "--no-table", "-o", "out.json"];
const { status } = spawnSync("node_modules/.bin/promptfoo", words, { env: { ...process.env, ...offline }, stdio: "ignore" });
if (status !== 100) throw new Error(`it ended with ${status}, not as tests do that fail`);

const found = JSON.parse(readFileSync("out.json", "utf8")).results.results;
const of = (at) => found.find((each) => each.promptIdx === at).response;
const calls = (raw) => (raw?.output ?? raw?.choices?.map((choice) => choice.message) ?? []).flatMap((each) => each.virc_tool_calls ?? []);
const read = ({ output, raw }) => {
  const at = output.lastIndexOf("\n") + 1;
  return { answer: output.slice(at), thoughts: output.slice(0, at), calls: calls(raw) };
};
console.log(JSON.stringify({ chat: { whole: { ...read(of(1)), answer: of(0).output } }, responses: { whole: read(of(2)) } }));
