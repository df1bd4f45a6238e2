// One tsdav client driven by lines of JSON: {"call": name, "with": {...}} -> {"result"} or {"error"}.
// argv[2] is the folder that npm put the package into.
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const tsdav = createRequire(process.argv[2] + '/')('tsdav');
let client;

const plain = (value) =>
  value instanceof Response
    ? { status: value.status, etag: value.headers.get('etag') }
    : value;

async function answer(wish) {
  if (wish.call === 'createDAVClient') {
    client = await tsdav.createDAVClient(wish.with);
    return null;
  }
  const { collection } = wish.with;
  if (collection) collection.objectMultiGet = client.calendarMultiGet; // no JSON can say that
  return plain(await client[wish.call](wish.with));
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const said = await answer(JSON.parse(line)).then(
      (result) => ({ result }),
      (error) => ({ error: String(error) }),
    );
    console.log(JSON.stringify(said));
  }
}

main();
