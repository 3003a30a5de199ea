import Foundation
import FuzzEntries

// corpus ROOT OUT: writes the files that the fuzz targets start from into OUT/TARGET.
guard CommandLine.arguments.count == 3 else { fatalError("corpus ROOT OUT") }
for entry in FuzzEntry.allCases {
    let directory = URL(fileURLWithPath: CommandLine.arguments[2]).appending(path: entry.rawValue)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    for (number, file) in try Corpus.files(for: entry, root: CommandLine.arguments[1]).enumerated() {
        try Data(file).write(to: directory.appending(path: "case-\(number)"))
    }
}
