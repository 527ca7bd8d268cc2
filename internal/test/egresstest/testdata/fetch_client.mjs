import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const response = await fetch(line, { headers: { Authorization: "Bearer " + process.env.API_TOKEN } });
  console.log(response.status, (await response.text()).trim());
}
