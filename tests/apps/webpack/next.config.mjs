export default { webpack: (config) => config };
