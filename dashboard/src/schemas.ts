/** The schemas of openapi.yaml by their names. `api-types.ts` is generated from it by `npm run types`. */
import type { components } from "./api-types";

export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

export type CouponSet = Schema<"CouponSet">;
export type Import = Schema<"Import">;
export type Assignment = Schema<"Assignment">;
export type Coupon = Schema<"Coupon">;
export type FoundCode = Schema<"FoundCode">;
