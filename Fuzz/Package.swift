// swift-tools-version: 6.2
import PackageDescription

// libFuzzer brings its own `main`, so its targets cannot stand where a plain `swift build` meets them.
let entries: [Target.Dependency] = [.product(name: "FuzzEntries", package: "artifact")]
let settings: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "artifact", path: "..")],
    targets: [
        "header",
        "json",
        "index",
        "pytorch",
        "pickle",
        "pattern",
        "pipeline",
        "msgpack",
        "ocdbt",
        "nemo",
        "stream",
        "dcp",
        "zero",
        "names",
        "gguf",
        "sentencepiece",
        "adapter",
        "corpus",
        "differential",
        "artifact",
        "npy",
        "onnx",
        "hdf5",
    ].map {
)
