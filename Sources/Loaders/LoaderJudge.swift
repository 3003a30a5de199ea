internal import SafeTensors
public import TensorCore

/// Says what each loader will do with a model.
public struct LoaderJudge {
    private let model: ModelFiles
    private let catalog: LoaderCatalog

    /// Makes a judge.
    ///
    /// - Parameters:
    ///   - model: the model.
    ///   - catalog: the loaders with their rules.
    public init(_ model: ModelFiles, catalog: LoaderCatalog) {
        self.model = model
        self.catalog = catalog
    }

    /// What a loader will do with the model.
    ///
    /// Reads the contents of tensors only where two files hold a tensor of the same name.
    ///
    /// - Parameter profile: the loader, one of the catalog's.
    /// - Throws: ``IOError`` where such contents cannot be read.
    public func report(on profile: LoaderProfile) throws(IOError) -> LoaderReport {
        let view = LoaderView(model, reads: catalog.reads(of: profile))
        let rules = catalog.rules(of: profile)
        var findings: [LoaderReport.Finding] = []
        for rule in rules {
            guard let place = try view.place(of: rule.test) else { continue }
            findings.append(Self.finding(rule, place))
        }
        if let unread = view.unread { findings.append(Self.builtIn(unread, profile)) }
        let faults = Set(rules.filter(\.test.isFault).map(\.id))
        if let broken = view.brokenFile, !findings.contains(where: { faults.contains($0.rule) }) {
            // A broken file that no rule speaks of is not thereby one that loads.
            findings.append(Self.builtIn(broken, profile))
        }
        // A stable sort: rules of equal weight stay in their order.
        findings = LoaderVerdict.allCases.reversed().flatMap { verdict in
            findings.filter { $0.verdict == verdict }
        }
        return LoaderReport(
            loader: profile, verdict: findings.first?.verdict ?? .loads, findings: findings,
            files: view.files.map(\.path))
    }

    private static func finding(_ rule: LoaderRule, _ place: LoaderView.Place) -> LoaderReport.Finding {
        let detail = place.detail.map { ": \($0)" } ?? ""
        return LoaderReport.Finding(
            rule: rule.id, verdict: rule.verdict, reason: rule.reason + detail, fix: rule.fix,
            file: place.file, tensor: place.tensor, offset: place.offset, count: place.count,
            evidence: rule.evidence, source: rule.source)
    }

    /// What follows from the files that a loader reads, without a rule.
    private static func builtIn(
        _ outcome: LoaderView.Outcome, _ profile: LoaderProfile
    ) -> LoaderReport.Finding {
        LoaderReport.Finding(
            rule: outcome.rule, verdict: outcome.verdict, reason: outcome.reason, fix: outcome.fix,
            file: outcome.place.file, tensor: nil, offset: outcome.place.offset, count: outcome.place.count,
            evidence: .read,
            source: LoaderRule.Source(repository: profile.name, file: nil, version: profile.tested))
    }
}

extension RuleTest {
    fileprivate var isFault: Bool { if case .fault = self { true } else { false } }
}
