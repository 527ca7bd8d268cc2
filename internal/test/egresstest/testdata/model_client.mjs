import { createInterface } from "node:readline";

const key = process.env.OPENAI_API_KEY;
for await (const line of createInterface({ input: process.stdin })) {
  const body = JSON.stringify({ stream: true, messages: [{ role: "user", content: "my key is " + key }] });
  const response = await fetch(line, { method: "POST", headers: { Authorization: "Bearer " + key }, body });
  let events = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) events += chunk;
  console.log(response.status, events.split(/\s*\n+/).join(" "));
}
