internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// The nested dictionaries of a JAX checkpoint: nodes in the order of the source, parents before their children.
struct PyTree {
    /// What stands at a place.
    enum Content {
        case container
        case tensor(TensorExpression)
        case value(JSONValue)
        /// A plain number that is stored as a tensor without dimensions.
        case number(TensorExpression)
        /// Something that is no tensor and no plain value, in words.
        case left(String)
        /// A tensor that cannot be represented, with the error for that.
        case unsupported(CheckpointError)
    }

    /// A place in the tree.
    struct Node {
        let key: [UInt8]
        let parent: Int
        var content: Content
        var firstChild = -1
        var lastChild = -1
        var nextSibling = -1
    }

    /// The most nodes that a checkpoint may have.
    static let nodeLimit = 1 << 20

    /// The nodes; the first is the root.
    private(set) var nodes = [Node(key: [], parent: -1, content: .container)]
    /// The file, for messages.
    let file: String

    init(file: String) { self.file = file }

    /// Adds a child, which the caller knows to be the only one of its name.
    mutating func add(_ key: [UInt8], to parent: Int, _ content: Content) throws(CheckpointError) -> Int {
        guard nodes.count < Self.nodeLimit else {
            throw CheckpointError(
                .malformed, "item-limit", "it holds more than \(Self.nodeLimit) items", file: file)
        }
        let place = nodes.count
        nodes.append(Node(key: key, parent: parent, content: content))
        if nodes[parent].lastChild < 0 {
            nodes[parent].firstChild = place
        } else {
            nodes[nodes[parent].lastChild].nextSibling = place
        }
        nodes[parent].lastChild = place
        return place
    }

    /// Replaces the last node and all that is below it by a leaf.
    mutating func collapse(_ place: Int, to content: Content) {
        nodes.removeSubrange((place + 1)...)
        nodes[place].content = content
        nodes[place].firstChild = -1
        nodes[place].lastChild = -1
    }

    /// The children of a node.
    func children(of place: Int) -> [Int] {
        var result: [Int] = []
        var child = nodes[place].firstChild
        while child >= 0 {
            result.append(child)
            child = nodes[child].nextSibling
        }
        return result
    }

    /// The keys from below `ancestor` to a node, joined by dots.
    func name(of place: Int, below ancestor: Int = 0) -> [UInt8] {
        var keys: [[UInt8]] = []
        var current = place
        while current > 0, current != ancestor {
            keys.append(nodes[current].key)
            current = nodes[current].parent
        }
        return Array(keys.reversed().joined(separator: [0x2E]))
    }

    /// The name for messages.
    func shownName(of place: Int) -> String { String(decoding: name(of: place), as: UTF8.self) }

    /// The tensors at or below each node.
    func tensorCounts() -> [Int] {
        var counts = [Int](repeating: 0, count: nodes.count)
        for place in nodes.indices.reversed() {
            switch nodes[place].content {
            case .tensor, .unsupported: counts[place] += 1
            default: break
            }
            if nodes[place].parent >= 0 { counts[nodes[place].parent] += counts[place] }
        }
        return counts
    }
}
