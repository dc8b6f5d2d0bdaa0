// Asks by OpenAI's client for Node for the vectors of `parts`, one request each and all at once.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { OpenAI } = createRequire(`${process.env.EMBOSK_NODE_PACKAGES}/`)("openai");
const { base, model, parts } = JSON.parse(readFileSync(0, "utf8"));

const client = new OpenAI({ baseURL: base, apiKey: "not needed here" });
const answers = await Promise.all(parts.map((input) => client.embeddings.create({ model, input })));
console.log(JSON.stringify(answers.flatMap((answer) => answer.data.map((row) => row.embedding))));
