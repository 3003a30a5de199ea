internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// What a trainer leaves beside the weights: its settings, as a pickle, and its state, as JSON.
enum TrainerFiles {
    private static let settings = "training_args.bin"
    private static let converted = "training_args.json"
    private static let state = "trainer_state.json"
    /// Settings take a few kilobytes.
    private static let settingsLimit: UInt64 = 16 << 20
    /// A state grows with each line of its log.
    private static let stateLimit: UInt64 = 64 << 20

    /// Adds the settings to what travels with the model, as JSON and never as the pickle, and both to the values.
    static func add(
        from listing: DirectoryListing, to checkpoint: inout Checkpoint
    ) throws(CheckpointError) {
        if listing.has(settings) { try addSettings(from: listing, to: &checkpoint) }
        guard listing.has(state) else { return }
        let input = try listing.open(state)
        checkpoint.consulted.append(input)
        guard input.byteCount <= stateLimit else { return }
        let bytes: [UInt8]
        do { bytes = try input.bytes(at: 0, count: Int(input.byteCount)) } catch { throw CheckpointError(error) }
        guard let members = (try? JSONValue(parsing: bytes))?.members else { return }
        // Its logs are not copied.
        let plain = members.filter { $0.value.members == nil && $0.value.elements == nil }
        checkpoint.values.append(JSONMember(key: "trainer_state", value: .object(plain)))
    }

    /// Settings that cannot be understood stay behind with a warning; where the file cannot be read, nothing is known.
    private static func addSettings(
        from listing: DirectoryListing, to checkpoint: inout Checkpoint
    ) throws(CheckpointError) {
        do throws(CheckpointError) {
            let input = try listing.open(settings)
            checkpoint.consulted.append(input)
            guard input.byteCount <= settingsLimit else {
                throw CheckpointError(
                    .malformed, "file-too-large", "it is too large for settings", file: settings)
            }
            let read = try PyTorchReader.read(input, displayName: settings)
            guard read.tensors.isEmpty, !read.values.isEmpty else {
                throw CheckpointError(.unsupported, "no-settings", "it holds no settings", file: settings)
            }
            checkpoint.values.append(JSONMember(key: "training_args", value: .object(read.values)))
            guard !listing.has(converted) else { return }
            let text = JSONValue.object(read.values).serialized(indent: 2) + [0x0A]
            let source = MemorySource(name: input.name + " as JSON", contents: text)
            if let file = EmbeddedFile(name: converted, source: source) { checkpoint.embedded.append(file) }
        } catch {
            if error.class == .io { throw error }
            checkpoint.warnings.append(
                CheckpointWarning(
                    "settings-unread", "the training settings are left behind: \(error.message)",
                    file: settings, offset: error.offset))
        }
    }
}
