import type { NextConfig } from "next";

const config: NextConfig = {
  // Without this, Turbopack looks for a lock file in the folders above, and may choose one of them as the root.
  turbopack: { root: __dirname },
  // Next would write a file for coding assistants (AGENTS.md) into the app.
  agentRules: false,
  // The preview shows only the app. Errors still get their overlay.
  devIndicators: false,
};

export default config;
