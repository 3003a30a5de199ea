// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that the main one stays small.
let package = Package(
    name: "benchmarks",
    dependencies: [.package(name: "artifact", path: "..")],
    targets: [
        .executableTarget(
            name: "kernels-bench", dependencies: [.product(name: "SafeTensors", package: "artifact")],
            swiftSettings: [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]),
        .executableTarget(
            name: "safetensors-bench", dependencies: [.product(name: "SafeTensors", package: "artifact")],
            swiftSettings: [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]),
    ]
)
