// Compiles the modules of a directory for Pyodide's Python, by that Python.
import { loadPyodide } from "pyodide";

const pyodide = await loadPyodide();
pyodide.FS.mkdir("/src");
pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: process.argv[2] }, "/src");
pyodide.runPython(`
import os, pathlib, py_compile
for path in sorted(pathlib.Path("/src").rglob("*.py")):
    py_compile.compile(
        str(path), cfile=str(path) + "c", dfile=str(path)[len("/src/"):], doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    path.unlink()
`);
