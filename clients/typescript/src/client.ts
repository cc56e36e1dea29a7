// A client of the waimai API. What may be sent and what comes back is checked by the compiler: `schema.d.ts` is made
// from the server's OpenAPI document (see README.md).

import createClient, { type Client, type Middleware } from "openapi-fetch";

import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];
export type WaimaiClient = Client<paths>;

/** A refusal: `problem.code` is stable and for programs, `problem.detail` is for people. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(`${problem.code}: ${problem.detail}`);
  }
}

/** A client of the server at `address`; `token` is asked before every call, so that it may be renewed in between. */
export function waimai(address: string, token: () => string | undefined = () => undefined): WaimaiClient {
  const client = createClient<paths>({ baseUrl: address });
  const sign: Middleware = {
    onRequest({ request }) {
      const access = token();
      if (access) {
        request.headers.set("Authorization", `Bearer ${access}`);
      }
      return request;
    },
  };
  client.use(sign);
  return client;
}

/** The answer's data. Throws Refused when the server said no. */
export function unwrap<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (!answer.response.ok) {
    // A proxy may answer without a problem document.
    const unknown = { code: "error", title: "", status: answer.response.status, detail: answer.response.statusText, type: "" };
    throw new Refused(answer.response.status, (answer.error || unknown) as Problem);
  }
  return answer.data as T;
}

/** A key that makes a repeated request harmless: make one per thing that shall happen, and keep it while you try. */
export function idempotencyKey(): string {
  // Mini-programs have no `crypto`; the key need not be secret, only one's own.
  const chance = () => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${chance()}${chance()}`;
}

/** The address of an order's live stream for `EventSource`, which can't send a header; open it within a minute. */
export async function liveAddress(address: string, client: WaimaiClient, orderId: number): Promise<string> {
  const { ticket } = unwrap(await client.POST("/api/v1/auth/live-ticket/"));
  return `${address}/api/v1/orders/${orderId}/events/?ticket=${encodeURIComponent(ticket)}`;
}
