// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableExperimentalFeature("Lifetimes"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .treatAllWarnings(as: .error),
]
/// Strict memory safety everywhere but in tests, where macro expansions cannot be marked `unsafe`.
let strict = settings + [.strictMemorySafety()]

let package = Package(
    name: "artifact",
    products: [
        .library(name: "SafeTensors", targets: ["SafeTensors"]),
        .executable(name: "artifact", targets: ["ArtifactCLI"]),
        // For the nested package in Fuzz.
        .library(name: "FuzzEntries", targets: ["FuzzEntries"]),
        // Preloaded into the command by tests.
        .library(name: "FaultLayer", type: .dynamic, targets: ["FaultLayer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // Each target imports only targets that stand above it.
        .target(name: "CSystem"),
        // Always optimised: a debug build of these loops would make every test wait.
        .target(name: "CDigest", cSettings: [.unsafeFlags(["-O2"])]),
        // Optimised for the same reason.
        .target(name: "CKernels", cSettings: [.unsafeFlags(["-O2"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "TensorCore", dependencies: ["CSystem", "CKernels"], swiftSettings: strict),
        .target(name: "StrictJSON", swiftSettings: strict),
        .target(
            name: "SafeTensors", dependencies: ["TensorCore", "StrictJSON"], swiftSettings: strict),
        .target(
            name: "Loaders", dependencies: ["TensorCore", "StrictJSON", "SafeTensors"], swiftSettings: strict),
        .target(
            name: "Integrity",
            dependencies: [
                "COpenSSL", "CZlib", "CDigest", "TensorCore", "StrictJSON", "SafeTensors",
            ],
            swiftSettings: strict),
        .target(name: "Archives", dependencies: ["CZlib", "CZstd", "TensorCore"], swiftSettings: strict),
        .target(
            name: "Checkpoints",
            dependencies: ["TensorCore", "StrictJSON", "SafeTensors", "Integrity"],
            swiftSettings: strict),
        .target(
            name: "Architectures", dependencies: ["TensorCore", "StrictJSON", "Checkpoints"],
            swiftSettings: strict),
        .target(
            name: "CheckpointFormats",
            dependencies: [
                "TensorCore", "StrictJSON", "SafeTensors", "Archives", "Checkpoints", "Architectures",
            ],
            swiftSettings: strict),
        .target(
            name: "Conversion",
            dependencies: [
                "CSystem", "TensorCore", "StrictJSON", "SafeTensors", "Integrity", "Checkpoints",
                "Architectures", "CheckpointFormats",
            ], swiftSettings: strict),
        .target(name: "Pipelines", swiftSettings: strict),
        .executableTarget(
            name: "ArtifactCLI",
            dependencies: [
                "CSystem", "TensorCore", "StrictJSON", "SafeTensors", "Integrity", "Checkpoints",
                "CheckpointFormats", "Conversion", "Loaders", "Pipelines",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: strict),
        .target(name: "ArchiveTestSupport", path: "Tests/ArchiveTestSupport", swiftSettings: settings),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .target(name: "FaultLayer", path: "Tests/FaultLayer"),
        .target(
            name: "FuzzEntries",
            dependencies: [
                "ArchiveTestSupport", "TensorCore", "StrictJSON", "SafeTensors", "Archives", "Checkpoints",
                "Architectures", "CheckpointFormats", "Conversion", "Pipelines",
            ], path: "Tests/FuzzEntries", swiftSettings: settings),
        .testTarget(
            name: "ProductTests", dependencies: ["ArtifactCLI", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzEntries"], swiftSettings: settings),
        .testTarget(
            name: "TensorCoreTests", dependencies: ["TensorCore", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "StrictJSONTests", dependencies: ["StrictJSON"], swiftSettings: settings),
        .testTarget(
            name: "SafeTensorsTests",
            dependencies: ["TensorCore", "StrictJSON", "SafeTensors", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "LoadersTests", dependencies: ["TensorCore", "SafeTensors", "Loaders", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "IntegrityTests", dependencies: ["TensorCore", "StrictJSON", "Integrity", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "ArchivesTests",
            dependencies: ["Archives", "ArchiveTestSupport", "TensorCore", "CZlib", "CZstd"],
            swiftSettings: settings),
        .testTarget(
            name: "CheckpointsTests", dependencies: ["Checkpoints", "TensorCore", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "ArchitecturesTests",
            dependencies: [
                "Architectures", "Checkpoints", "Integrity", "StrictJSON", "TensorCore", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CheckpointFormatsTests",
            dependencies: [
                "CheckpointFormats", "Checkpoints", "Archives", "ArchiveTestSupport", "StrictJSON",
                "TensorCore",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ConversionTests",
            dependencies: [
                "TensorCore", "StrictJSON", "SafeTensors", "Integrity", "Checkpoints", "CheckpointFormats",
                "Conversion", "TestSupport",
            ], swiftSettings: settings),
        .testTarget(name: "PipelinesTests", dependencies: ["Pipelines"], swiftSettings: settings),
        .testTarget(
            name: "ArtifactCLITests", dependencies: ["ArtifactCLI", "TestSupport"], swiftSettings: settings),
    ]
)
