export default { assetPrefix: "/assets" };
