/// What can run commands or code, read or write files, or reach the network: refused whatever the caller allows.
///
/// Nothing is ever run here; but a file that names one of these is not one to pass on.
enum DeniedGlobals {
    /// Whether a global is one of them.
    static func contains(module: String, name: String) -> Bool {
        let root = String(module.prefix { $0 != "." })
        if root == "builtins" || root == "__builtin__" || root == "__builtins__" {
            return !plainTypes.contains(name)
        }
        if root == "copyreg" || root == "copy_reg" {
            return !["_reconstructor", "__newobj__"].contains(name)
        }
        if root == "torch" && name == "load" || name.hasPrefix("_get_command") { return true }
        return roots.contains(root)
            || prefixes.contains { module == $0 || module.hasPrefix($0 + ".") }
    }

    /// Whether a global with its module before it is one of them.
    static func contains(qualifiedName: String) -> Bool {
        let parts = qualifiedName.split(separator: ".", omittingEmptySubsequences: false)
        return contains(module: parts.dropLast().joined(separator: "."), name: String(parts.last ?? ""))
    }

    /// Types among the builtins that are data.
    private static let plainTypes: Set<String> = [
        "object", "list", "dict", "tuple", "set", "frozenset", "int", "float", "complex", "bool", "str",
        "bytes",
        "bytearray", "slice", "range", "long", "unicode", "NoneType", "Ellipsis", "NotImplemented",
    ]

    /// Packages all of whose modules are denied.
    private static let roots: Set<String> = [
        // Commands, processes, the interpreter itself.
        "os", "posix", "nt", "sys", "subprocess", "commands", "popen2", "pty", "pdb", "bdb", "runpy", "code",
        "codeop", "imp", "importlib", "zipimport", "pkgutil", "site", "sitecustomize", "ctypes", "_ctypes",
        "cffi", "gc", "inspect", "signal", "resource", "threading", "_thread", "multiprocessing",
        "concurrent",
        "asyncio", "sched", "atexit", "faulthandler", "ast", "types", "operator", "_operator", "functools",
        "_functools", "itertools", "typing", "marshal", "pickle", "_pickle", "cPickle", "pickletools",
        "shelve",
        "cloudpickle", "dill", "joblib", "jsonpickle", "copy", "builtin", "trace", "timeit", "profile",
        "cProfile", "pstats", "hotshot", "doctest", "unittest", "test", "pytest", "_pytest", "nose",
        "idlelib",
        "lib2to3", "pydoc", "pydoc_data", "ensurepip", "pip", "venv", "virtualenv", "setuptools",
        "distutils", "pkg_resources", "sysconfig", "turtle", "tkinter", "Tkinter", "antigravity", "this",
        "platform", "getpass", "readline", "rlcompleter", "cmd", "shlex", "uuid", "xdrlib", "linecache",
        "tracemalloc", "webbrowser", "cgi", "cgitb", "IPython", "jupyter", "ipykernel", "execnet", "fabric",
        "invoke", "paramiko", "pexpect", "plumbum", "sh", "nltk",
        // Files.
        "io", "_io", "_pyio", "shutil", "tempfile", "fileinput", "glob", "mmap", "zipfile", "tarfile", "gzip",
        "bz2", "lzma", "dbm", "sqlite3", "_sqlite3", "logging", "nturl2path", "posixpath", "ntpath",
        "genericpath",
        // The network.
        "socket", "_socket", "socketserver", "ssl", "select", "selectors", "http", "httplib", "urllib",
        "urllib2",
        "urllib3", "requests", "httpx", "aiohttp", "websocket", "websockets", "ftplib", "smtplib", "smtpd",
        "imaplib", "poplib", "nntplib", "telnetlib", "xmlrpc", "email", "wsgiref", "pyftpdlib", "boto3",
        // Whole programs inside packages.
        "pandas", "tensorflow", "keras", "tf_keras", "theano", "numexpr", "sympy", "jinja2", "mako", "yaml",
        "django", "flask", "celery", "apt", "yum", "dnf",
    ]

    /// Modules that are denied with all below them.
    private static let prefixes = [
        "numpy.f2py", "numpy.testing", "numpy.distutils", "numpy.lib", "numpy.compat", "numpy.load",
        "numpy.core.function_base", "scipy.io", "scipy.weave", "torch.hub", "torch.utils", "torch.package",
        "torch.serialization", "torch.storage", "torch.jit", "torch.fx", "torch.ops", "torch._ops",
        "torch.classes", "torch._classes", "torch.library", "torch.compiler", "torch._dynamo",
        "torch._inductor",
        "torch._higher_order_ops", "torch._lazy", "torch._C", "torch.testing", "torch.multiprocessing",
        "torch.distributed.rpc", "torch.distributed.elastic", "torch.distributed.run",
        "torch.distributed.launch", "torch.distributed.remote_device", "torch.onnx", "torch.export",
        "torch.cuda._gpu_trace", "torch.ao.pruning._experimental", "transformers.utils.import_utils",
        "transformers.commands", "transformers.dynamic_module_utils",
    ]
}

/// Why a global was refused, in words that say what the file is likely to be and what can be done.
func refusalMessage(module: String, name: String) -> String {
    let object = "\(module).\(name)"
    if DeniedGlobals.contains(module: module, name: name) || name.utf8.contains(0x2E) {
        return "the file asks Python to use \(object), which can run commands or code; nothing was run. "
            + "Do not load this file with PyTorch"
    }
    if module.hasPrefix("torch.nn") || module == "__main__" {
        return "the file holds a whole Python object (\(object)), which needs code to load; nothing was run. "
            + "Save model.state_dict() instead of the model, or read the weights in it with --allow-opaque"
    }
    return "the file asks Python to use \(object), which plain weights do not need; nothing was run. "
        + "Save the state_dict alone, with tensors and plain values only, or take such objects for plain "
        + "records with --allow-opaque"
}
