"""Checks a drill's report against its chain and its raw history, without Polis.

usage: python3 verify_drill.py DATA/reports/drill-report-RUN.json
"""
import hashlib, json, pathlib, sys

path = pathlib.Path(sys.argv[1])
sha = lambda data: hashlib.sha256(data).hexdigest()
wrong, previous, link = [], "0" * 64, None
for number, line in enumerate((path.parent / "chain.jsonl").read_bytes().splitlines(), 1):
    entry = json.loads(line)
    if entry["previous"] != previous or entry["number"] != number:
        sys.exit(f"chain.jsonl, line {number}: does not follow from the line before it")
    previous = sha(line)
    if any(file["name"] == path.name for file in entry["files"]):
        link = entry
if link is None:
    sys.exit(f"{path.name} is not in the chain")
for file in link["files"]:
    data = (path.parent / file["name"]).read_bytes()
    if sha(data) == file["sha256"]:
        continue
    lines, before, where = data.splitlines(keepends=True), "0" * 64, "somewhere"
    for block, expected in enumerate(file.get("blocks", [])):
        before = sha(before.encode() + b"".join(lines[block * 1000 : (block + 1) * 1000]))
        if before != expected:
            where = f"between lines {block * 1000 + 1} and {(block + 1) * 1000}"
            break
    wrong.append(f"{file['name']}: changed {where}")
for drill in json.loads(path.read_bytes())["drills"]:
    read = lambda name: map(json.loads, (path.parent / name).read_bytes().splitlines())
    there = {p["id"]: p["amount"] for p in read(drill["files"]["present"]) if p["committed"]}
    told = {record["id"]: record for record in read(drill["files"]["history"])}
    acked = [r for r in told.values() if r["outcome"] == "acked"]
    lost = [r["id"] for r in told.values() if r["outcome"] in ("acked", "resolved_committed")
            and there.get(r["id"]) != r["amount"]]
    for name, found in [("acked", len(acked)), ("lost", len(lost))]:
        if drill[name] != found:
            wrong.append(f"{drill['fault']}: {name} is {found} by the history, not {drill[name]}")
print("\n".join(wrong) or f"{path.name} checks out; the last link is {previous}")
sys.exit(bool(wrong))
