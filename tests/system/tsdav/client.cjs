// One tsdav client driven by lines of JSON: {"call": name, "with": {...}} -> {"result"} or {"error"}.
// The first line is {"options": {...}} for createDAVClient; argv[2] is the folder of the package.
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const tsdav = createRequire(process.argv[2] + '/')('tsdav');
const plain = (value) =>
  value instanceof Response
    ? { status: value.status, etag: value.headers.get('etag') }
    : value;

async function main() {
  let client;
  for await (const line of createInterface({ input: process.stdin })) {
    const wish = JSON.parse(line);
    let answer;
    const collection = wish.with && wish.with.collection;
    if (collection) collection.objectMultiGet = client.calendarMultiGet; // no JSON can say that
    try {
      if (wish.options) client = await tsdav.createDAVClient(wish.options);
      answer = { result: wish.call ? plain(await client[wish.call](wish.with)) : null };
    } catch (error) {
      answer = { error: String(error) };
    }
    console.log(JSON.stringify(answer));
  }
}

main();
