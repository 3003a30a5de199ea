internal import CSystem

/// The type of the file system that holds a file, as far as it decides how to read.
///
/// Numbers from `statfs(2)` and the kernel's `linux/magic.h`.
public struct FileSystemType: Sendable, Hashable {
    /// The number that the system gives the type.
    public let magic: UInt64
    /// A short name such as `ext4`; the number in hexadecimal where the type is unknown here.
    public let name: String
    /// True for file systems whose pages can fail or vanish at any time: a mapping of such a file may kill the
    /// process where `pread` gives an error.
    public let isRemote: Bool
    /// True where reads that pass by the page cache are known to work and to be worth while.
    public let readsDirectly: Bool

    private static let known: [UInt64: (name: String, isRemote: Bool, readsDirectly: Bool)] = [
        0xEF53: ("ext4", false, true), 0x5846_5342: ("xfs", false, true), 0x9123_683E: ("btrfs", false, true),
        0xF2F5_2010: ("f2fs", false, true), 0x0102_1994: ("tmpfs", false, false),
        0x8584_58F6: ("ramfs", false, false), 0x794C_7630: ("overlay", false, false),
        0x2FC1_2FC1: ("zfs", false, false), 0x6969: ("nfs", true, false), 0x6573_5546: ("fuse", true, false),
        0x0BD0_0BD0: ("lustre", true, false), 0xFF53_4D42: ("cifs", true, false),
        0xFE53_4D42: ("smb2", true, false), 0x0102_1997: ("9p", true, false),
        0x00C3_6400: ("ceph", true, false), 0x4750_4653: ("gpfs", true, false),
    ]

    /// The type with this number.
    ///
    /// - Parameter magic: what `statfs` gives as `f_type`.
    public init(magic: UInt64) {
        // The field is signed on some machines and the number 32 bits wide.
        self.magic = magic & 0xFFFF_FFFF
        let type = Self.known[self.magic]
        name = type?.name ?? "0x" + String(self.magic, radix: 16)
        isRemote = type?.isRemote ?? false
        readsDirectly = type?.readsDirectly ?? false
    }

    /// The type of the file system of an open file.
    init(descriptor: Int32) { self.init(magic: csystem_file_system_type(descriptor)) }
}
