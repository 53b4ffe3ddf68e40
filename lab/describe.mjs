// Prints the settings of Pyodide's Python, which a compiler for it has to know.
import { loadPyodide } from "pyodide";

const pyodide = await loadPyodide();
console.log(pyodide.runPython(`
import json, sysconfig
json.dumps({k: v for k, v in sysconfig.get_config_vars().items() if isinstance(v, (int, str))})
`));
