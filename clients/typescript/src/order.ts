// A whole order, as an example and as a test: `node build/order.js http://127.0.0.1:8000 13800000001 waimai-demo`.

import { idempotencyKey, liveAddress, Refused, unwrap, waimai } from "./client.js";

const [address = "http://127.0.0.1:8000", phone = "13800000001", password = "waimai-demo"] = process.argv.slice(2);
let access: string | undefined;
const api = waimai(address, () => access);

({ access } = unwrap(await api.POST("/api/v1/auth/login/", { body: { phone, password } })));
const [shop] = unwrap(await api.GET("/api/v1/shops/")).results;
const [home] = unwrap(await api.GET("/api/v1/addresses/")).results;
if (!shop || !home) {
  throw new Error("there is no shop, or no address to deliver to");
}
const menu = unwrap(await api.GET("/api/v1/shops/{shop_id}/menu/", { params: { path: { shop_id: shop.id } } }));
const dish = menu.categories
  .flatMap((category) => category.items)
  .find((item) => item.available && item.option_groups.every((group) => group.min === 0) && Number(item.price) >= 20);
if (!dish) {
  throw new Error("nothing to order");
}

const wish = { shop: shop.id, address: home.id, lines: [{ item: dish.id, quantity: 1, options: [] }] };
const place = (shown_total: string) =>
  api.POST("/api/v1/orders/", {
    params: { header: { "Idempotency-Key": idempotencyKey() } },
    body: { ...wish, shown_total },
  });
// What the customer was shown is wrong: the refusal names the right total, and nothing is ordered.
const refusal = await place("0.01").then(unwrap).catch((error: unknown) => error);
if (!(refusal instanceof Refused) || refusal.problem.code !== "total_changed") {
  throw new Error(`expected total_changed, got ${String(refusal)}`);
}
const order = unwrap(await place((refusal.problem as unknown as { total: string }).total));

const stream = await fetch(await liveAddress(address, api, order.id));
const path = { order_id: order.id };
const started = unwrap(
  await api.POST("/api/v1/orders/{order_id}/pay/", {
    params: { path, header: { "Idempotency-Key": idempotencyKey() } },
    body: { provider: "sandbox" },
  }),
);
unwrap(
  await api.POST("/api/v1/payments/sandbox/{payment_id}/", {
    params: { path: { payment_id: started.payment } },
    body: { outcome: "success", delay_seconds: 0, times: 1 },
  }),
);

// The stream tells when it is paid.
const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
for (let told = ""; !told.includes('"status":"paid"'); ) {
  const { value, done } = await reader.read();
  if (done) {
    throw new Error(`the stream ended: ${told}`);
  }
  told += value;
}
await reader.cancel();
const paid = unwrap(await api.GET("/api/v1/orders/{order_id}/", { params: { path } }));
console.log(`${paid.id} ${paid.status} ${paid.total}`);
