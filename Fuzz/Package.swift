// swift-tools-version: 6.2
import PackageDescription

// libFuzzer brings its own `main`, so its targets cannot stand where a plain `swift build` meets them.
let entries: [Target.Dependency] = [.product(name: "FuzzEntries", package: "artifact")]
let settings: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "artifact", path: "..")],
    targets: [
        "header", "json", "index", "pytorch", "pickle", "nemo", "stream", "dcp",
        "zero", "gguf", "sentencepiece", "npy", "onnx", "hdf5", "msgpack", "ocdbt",
        "names", "adapter", "pattern", "pipeline",
    ].map {
        .executableTarget(name: "fuzz-\($0)", dependencies: entries, swiftSettings: settings)
    } + [
        .executableTarget(name: "corpus", dependencies: entries, swiftSettings: settings),
        .executableTarget(
            name: "differential",
            dependencies: entries + [.product(name: "SafeTensors", package: "artifact")],
            swiftSettings: settings),
    ]
)
