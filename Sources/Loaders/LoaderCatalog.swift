internal import TensorCore

/// The loaders that are known, and their rules with those that they share.
public struct LoaderCatalog: Sendable {
    /// The loaders in order of their names.
    public private(set) var profiles: [LoaderProfile]

    /// The loaders of `Formats/loaders`, which are part of the program.
    ///
    /// - Throws: never, as tests see to; a program that was tampered with aside.
    public init() throws(LoaderRulesError) {
        profiles = []
        for (file, text) in EmbeddedProfiles.all {
            try add(try LoaderProfile(parsing: Array(text.utf8), file: file))
        }
        try checkBases()
    }

    /// Adds loaders, each in place of one with its name and version.
    ///
    /// - Parameter profiles: the loaders.
    /// - Throws: ``LoaderRulesError`` where one shares the rules of a loader that is not known.
    public mutating func add(_ profiles: [LoaderProfile]) throws(LoaderRulesError) {
        for profile in profiles { try add(profile) }
        try checkBases()
    }

    private mutating func add(_ profile: LoaderProfile) throws(LoaderRulesError) {
        profiles.removeAll { $0.id == profile.id }
        let place = profiles.firstIndex { $0.id > profile.id } ?? profiles.endIndex
        profiles.insert(profile, at: place)
    }

    private func checkBases() throws(LoaderRulesError) {
        for profile in profiles {
            guard let base = profile.base else { continue }
            guard let found = profiles.first(where: { $0.id == base }) else {
                throw LoaderRulesError(
                    file: profile.id, message: "extends \"\(escapedForDisplay(base))\", which is not known")
            }
            guard found.base == nil else {
                throw LoaderRulesError(
                    file: profile.id, message: "extends \(base), which extends another loader itself")
            }
        }
    }

    /// The loaders that a name stands for: `transformers` for every version, `transformers@4` for one.
    public func profiles(named name: String) -> [LoaderProfile] {
        profiles.filter { $0.id == name || $0.name == name }
    }

    /// The rules of a loader: its own, then those of its base that it does not replace by id.
    public func rules(of profile: LoaderProfile) -> [LoaderRule] {
        let base = profiles.first { $0.id == profile.base }?.rules ?? []
        return profile.rules + base.filter { rule in !profile.rules.contains { $0.id == rule.id } }
    }

    /// Which files of a directory a loader reads.
    public func reads(of profile: LoaderProfile) -> LoaderProfile.Reads {
        profile.reads ?? profiles.first { $0.id == profile.base }?.reads ?? LoaderProfile.Reads()
    }
}
