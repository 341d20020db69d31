import ms from "ms";

export default { env: { MINUTE: String(ms("1m")) } };
