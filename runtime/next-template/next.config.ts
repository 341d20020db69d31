import type { NextConfig } from "next";

const config: NextConfig = {
  // Without it, Turbopack looks for a lock file in the folders above and may take one of them for the project.
  turbopack: { root: __dirname },
  // Next would write notes for coding assistants into the app's own files.
  agentRules: false,
  // The preview shows the app and nothing else; errors still get their overlay.
  devIndicators: false,
};

export default config;
