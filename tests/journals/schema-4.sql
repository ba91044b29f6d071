PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE cases (
    id INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    folder TEXT NOT NULL,
    filed_as TEXT NOT NULL,
    stage TEXT NOT NULL,
    study TEXT NOT NULL,
    title TEXT,
    record TEXT NOT NULL
, files TEXT) STRICT;
INSERT INTO "cases" VALUES(1,'root','P001','','confirming','https://gc/api/v1/ pk','P001','{"id": 1, "root": "root", "folder": "P001", "platform": "https://gc/api/v1/", "study": "https://gc/reader-studies/lung/", "study_pk": "pk", "study_slug": "lung", "stage": "confirming", "since": 1.0, "device": 5, "inode": 7, "plan": {"folder": "P001", "title": "P001", "sockets": [{"socket": "ct-image", "super_kind": "Image", "source": "ct.mha", "files": [{"path": "ct.mha", "upload_name": "ct-image.mha", "size": 3, "mtime_ns": 1, "ctime_ns": 2, "inode": 3, "content": null, "sha256": "abababababababababababababababababababababababababababababababab", "part_size": 8388608, "md5s": ["cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"], "geometry": {"size": [1, 2, null], "voxel_mm": [0.5, 1.0, null]}, "packed": [], "procedure": null, "unchanged": false, "bare": false, "method": "", "taken": [], "stripped": [], "stripped_size": 0, "source_sha256": ""}], "value": null, "image_name": "", "segments": [], "image_of": "", "copied": []}, {"socket": "some-score", "super_kind": "Value", "source": "score.json, /score", "files": [], "value": 2.5, "image_name": "", "segments": [], "image_of": "", "copied": []}], "signature": "mark", "left_out": ["x"], "entries": [{"path": "ct.mha", "kind": "file", "size": 3, "mtime_ns": 0, "ctime_ns": 0, "inode": 0}], "existing": "refuse", "relies_on": [], "ignore": [], "part": "", "groups": [], "parts": [], "order": 0, "rules": ""}, "tries": 0, "uploads": {"ct.mha": {"pk": "u1", "sha256": "abababababababababababababababababababababababababababababababab", "part_size": 8388608, "expired": 0, "hours": 0.0}}, "sessions": {"ct-image": ["s1"]}, "held": {}, "replaced": {"some-score": 6}, "one_time_title": "casedrop-x", "set_pk": "set-1", "patch": "", "asked": [], "committed": true, "committed_at": 1700000000.0, "boot": "", "unclear": false, "problems": [], "target": "", "filed_as": "", "first_name": "", "judged": "", "late_looks": 0, "twin_of": 0, "amends": false, "added": [], "twins_allowed": false, "deleted": false, "head": 0, "round": 0, "archive": false, "failed_before": []}','3e68d14bc50cd9133c3915e4540da647cc82dcdd6cabfb3fef06acc2249406a4');
INSERT INTO "cases" VALUES(2,'root','caf\udce9 
.mha','P002','failed','https://gc/api/v1/ pk',NULL,'{"id": 2, "root": "root", "folder": "caf\udce9 \n.mha", "platform": "https://gc/api/v1/", "study": "https://gc/reader-studies/lung/", "study_pk": "pk", "study_slug": "lung", "stage": "failed", "since": 1.0, "device": 5, "inode": 7, "plan": {"folder": "caf\udce9 \n.mha", "title": "P002", "sockets": [{"socket": "ct-image", "super_kind": "Image", "source": "ct.mha", "files": [{"path": "ct.mha", "upload_name": "ct-image.mha", "size": 3, "mtime_ns": 1, "ctime_ns": 2, "inode": 3, "content": null, "sha256": "abababababababababababababababababababababababababababababababab", "part_size": 8388608, "md5s": ["cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"], "geometry": {"size": [1, 2, null], "voxel_mm": [0.5, 1.0, null]}, "packed": [], "procedure": null, "unchanged": false, "bare": false, "method": "", "taken": [], "stripped": [], "stripped_size": 0, "source_sha256": ""}], "value": null, "image_name": "", "segments": [], "image_of": "", "copied": []}, {"socket": "some-score", "super_kind": "Value", "source": "score.json, /score", "files": [], "value": 2.5, "image_name": "", "segments": [], "image_of": "", "copied": []}], "signature": "mark", "left_out": ["x"], "entries": [{"path": "ct.mha", "kind": "file", "size": 3, "mtime_ns": 0, "ctime_ns": 0, "inode": 0}], "existing": "refuse", "relies_on": [], "ignore": [], "part": "", "groups": [], "parts": [], "order": 0, "rules": ""}, "tries": 0, "uploads": {}, "sessions": {}, "held": {}, "replaced": {}, "one_time_title": "", "set_pk": "", "patch": "", "asked": [], "committed": false, "committed_at": 0.0, "boot": "", "unclear": false, "problems": [{"word": "word", "text": "text", "weight": "wrong"}], "target": "failed", "filed_as": "P002", "first_name": "", "judged": "", "late_looks": 0, "twin_of": 0, "amends": false, "added": [], "twins_allowed": false, "deleted": false, "head": 0, "round": 0, "archive": false, "failed_before": []}',NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "meta" VALUES('id','a2263b10ef65402facffa13a9e2c54c1');
INSERT INTO "meta" VALUES('starts root','3');
INSERT INTO "meta" VALUES('oldest','4');
CREATE TABLE wishes (case_id INTEGER PRIMARY KEY, wish TEXT NOT NULL) STRICT;
CREATE INDEX cases_by_folder ON cases (root, folder);
CREATE INDEX cases_by_stage ON cases (root, stage);
CREATE UNIQUE INDEX titles ON cases (study, title) WHERE title IS NOT NULL;
CREATE INDEX cases_by_files ON cases (study, files) WHERE files IS NOT NULL;
CREATE INDEX cases_by_set ON cases (json_extract(record, '$.set_pk'));
CREATE INDEX cases_to_look_at ON cases (root, json_extract(record, '$.since'))
    WHERE stage = 'done' AND json_extract(record, '$.late_looks') < 2;
CREATE INDEX cases_by_head ON cases (json_extract(record, '$.head')) WHERE json_extract(record, '$.head') > 0;
COMMIT;
