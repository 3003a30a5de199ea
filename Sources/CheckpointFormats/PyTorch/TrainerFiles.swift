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

    /// Adds the settings to what travels with the model, as JSON and never as the pickle, and both to the values.
    static func add(
        from listing: DirectoryListing, to checkpoint: inout Checkpoint
    ) throws(CheckpointError) {
        if listing.has(settings) { try addSettings(from: listing, to: &checkpoint) }
        guard listing.has(state) else { return }
        let input = try listing.open(state)
        guard input.byteCount <= 64 << 20 else { return }
        let bytes = try reading(input) { () throws(CheckpointError) in
            do throws(IOError) { return try input.bytes(at: 0, count: Int(input.byteCount)) } catch {
                throw CheckpointError(error)
            }
        }
        guard let members = (try? JSONValue(parsing: bytes))?.members else { return }
        // Its logs are not copied.
        let plain = members.filter { $0.value.members == nil && $0.value.elements == nil }
        checkpoint.values.append(JSONMember(key: "trainer_state", value: .object(plain)))
    }

    /// What `body` makes of a file, where the file did not change meanwhile.
    private static func reading<R>(
        _ input: InputFile, _ body: () throws(CheckpointError) -> R
    ) throws(CheckpointError) -> R {
        let result: Result<R, CheckpointError>
        do throws(CheckpointError) { result = .success(try body()) } catch { result = .failure(error) }
        do { try input.checkUnchanged() } catch { throw CheckpointError(error) }
        return try result.get()
    }

    private static func addSettings(
        from listing: DirectoryListing, to checkpoint: inout Checkpoint
    ) throws(CheckpointError) {
        let input = try listing.open(settings)
        let values: [JSONMember]
        do throws(CheckpointError) {
            values = try reading(input) { () throws(CheckpointError) in
                guard input.byteCount <= settingsLimit else {
                    throw CheckpointError(
                        .malformed, "file-too-large", "it is too large for settings", file: settings)
                }
                let read = try PyTorchReader.read(input, displayName: settings)
                guard read.tensors.isEmpty, !read.values.isEmpty else {
                    throw CheckpointError(.unsupported, "no-settings", "it holds no settings", file: settings)
                }
                return read.values
            }
        } catch {
            if error.class == .io { throw error }
            checkpoint.warnings.append(
                CheckpointWarning(
                    "settings-unread", "the training settings are left behind: \(error.message)",
                    file: settings, offset: error.offset))
            return
        }
        checkpoint.values.append(JSONMember(key: "training_args", value: .object(values)))
        guard !listing.has(converted) else { return }
        let text = JSONValue.object(values).serialized(indent: 2) + [0x0A]
        let source = MemorySource(name: input.name + " as JSON", contents: text)
        if let file = EmbeddedFile(name: converted, source: source) { checkpoint.embedded.append(file) }
    }
}
