export default { transpilePackages: ["@mono/ui"] };
