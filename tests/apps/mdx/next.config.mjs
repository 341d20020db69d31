import createMDX from "@next/mdx";

export default createMDX()({ pageExtensions: ["js", "jsx", "mdx", "tsx"] });
