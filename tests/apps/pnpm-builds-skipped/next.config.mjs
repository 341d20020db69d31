export default { serverExternalPackages: ["fake-sqlite"] };
