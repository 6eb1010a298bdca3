BEGIN TRANSACTION;
CREATE TABLE conduit_charges (
	id INTEGER NOT NULL, 
	node VARCHAR(64) NOT NULL, 
	deployment VARCHAR(32) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	usd_per_hour FLOAT NOT NULL, 
	"begin" FLOAT NOT NULL, 
	"end" FLOAT, 
	billed_usd FLOAT, 
	twin TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "conduit_charges" VALUES(1,'conduit-0123456789ab-fsp7yo8ybjlk-0-1','fsp7yo8ybjlk','running',8.62941758421917781696e-01,1.79607096460259199142e+09,NULL,NULL,NULL);
INSERT INTO "conduit_charges" VALUES(2,'conduit-0123456789ab-fsp7yo8ybjlk-1-2','fsp7yo8ybjlk','running',8.62941758421917781696e-01,1796070964.66333,NULL,NULL,NULL);
INSERT INTO "conduit_charges" VALUES(3,'conduit-0123456789ab-n06uj1q7bjlk-0-1','n06uj1q7bjlk','running',6.82941758421917843868e-01,1.79607096768451595302e+09,1.79607097435682106023e+09,NULL,NULL);
INSERT INTO "conduit_charges" VALUES(4,'conduit-0123456789ab-kdegu52kbjlk-0-1','kdegu52kbjlk','running',0.0,1796070970.6046,NULL,NULL,NULL);
INSERT INTO "conduit_charges" VALUES(5,'conduit-0123456789ab-uvet3zh5bjlk-0-1','uvet3zh5bjlk','running',1.99294175842191778613e+00,1.79607097208354806903e+09,1.79607097458233404153e+09,1.35985483755707747995e-03,NULL);
INSERT INTO "conduit_charges" VALUES(6,'conduit-0123456789ab-n06uj1q7bjlk-0-1','n06uj1q7bjlk','stopped',5.88351684383561605862e-03,1.79607097435682106023e+09,NULL,NULL,NULL);
CREATE TABLE conduit_deployments (
	id VARCHAR(32) NOT NULL, 
	installation VARCHAR(64) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	runtime TEXT NOT NULL, 
	provider TEXT, 
	request TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	created_at FLOAT NOT NULL, 
	lease_until FLOAT NOT NULL, 
	idle_s FLOAT NOT NULL, 
	max_usd FLOAT NOT NULL, 
	wanted_replicas INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	ended_at FLOAT, 
	revision INTEGER NOT NULL, 
	is_live BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "conduit_deployments" VALUES('fsp7yo8ybjlk','0123456789abcdef','641a236c8ce701c291d4d389d08dc3408a46cffdae6f74279e470d0c9dff7aab','chat','custom','runpod','{"models": [{"model_id": "example/chat-7b", "max_model_len": 4096, "max_model_concurrency": 16, "model_batch_execute_timeout_ms": null, "dtype": "bfloat16", "revision": "v1.5", "quantization": null}], "runtime": "custom", "runtime_version": null, "provider": "runpod", "gpu": "L40S", "gpu_count": 1, "tensor_parallel": 1, "pipeline_parallel": 1, "replicas": {"least": 2, "most": 2}, "image": "registry.example/model-server:1", "command": ["/srv/model-server", "--model", "{model}", "--port", "{port}"], "constraint": {"enterprise": true, "single_device": true, "max_usd_per_hour": 1.0, "regions": ["us-*"], "providers": ["runpod"], "min_availability": "low", "interruptible": false}, "max_usd": 5.0, "lease_s": 3600.0, "idle_s": null, "name": "chat"}','running',1.79607096457771301268e+09,1.79607456457771301264e+09,1800.0,5.0,2,'machine-of-0-1|18559|1796070956.270','',NULL,8,1);
INSERT INTO "conduit_deployments" VALUES('n06uj1q7bjlk','0123456789abcdef','2b2b782b6f1f12ef4e1931a9a4a2d43b4484bbd1de16bf74ad07160761f20dc4','batch','custom',NULL,'{"models": [{"model_id": "example/batch-70b", "max_model_len": null, "max_model_concurrency": null, "model_batch_execute_timeout_ms": null, "dtype": "auto", "revision": null, "quantization": "int8"}], "runtime": "custom", "runtime_version": null, "provider": null, "gpu": "RTX4090", "gpu_count": 2, "tensor_parallel": 2, "pipeline_parallel": 1, "replicas": {"least": 1, "most": 4}, "image": "registry.example/model-server:1", "command": ["/srv/model-server", "--model", "{model}", "--port", "{port}"], "constraint": {"enterprise": false, "single_device": false, "max_usd_per_hour": null, "regions": null, "providers": null, "min_availability": null, "interruptible": null}, "max_usd": 4.0, "lease_s": 7200.0, "idle_s": null, "name": "batch"}','stopped',1.7960709676455659866e+09,1.7960781676455659866e+09,1800.0,4.0,1,'machine-of-0-1|18559|1796070956.270','',NULL,27,1);
INSERT INTO "conduit_deployments" VALUES('kdegu52kbjlk','0123456789abcdef','81905e06bb5cf75060f9f2c9975eeaaf04fb70d87dec407bf6c757ea0fa67c3d','here','vllm','local','{"models": [{"model_id": "HuggingFaceTB/SmolLM2-135M-Instruct", "max_model_len": null, "max_model_concurrency": null, "model_batch_execute_timeout_ms": null, "dtype": "auto", "revision": null, "quantization": null}], "runtime": "vllm", "runtime_version": "0.19.0", "provider": "local", "gpu": null, "gpu_count": null, "tensor_parallel": 1, "pipeline_parallel": 1, "replicas": {"least": 1, "most": 1}, "image": null, "command": [], "constraint": {"enterprise": false, "single_device": false, "max_usd_per_hour": null, "regions": null, "providers": null, "min_availability": null, "interruptible": null}, "max_usd": null, "lease_s": 5400.0, "idle_s": null, "name": "here"}','running',1796070970.4951,1796076370.4951,1800.0,5.0,1,'machine-of-0-1|18559|1796070956.270','',NULL,18,1);
INSERT INTO "conduit_deployments" VALUES('uvet3zh5bjlk','0123456789abcdef','73f90a23d1fa13a3ed29f5725ad3f35ec5810c3f3a07a745940c359916e4fddd','ended','custom','runpod','{"models": [{"model_id": "example/ended", "max_model_len": null, "max_model_concurrency": null, "model_batch_execute_timeout_ms": null, "dtype": "auto", "revision": null, "quantization": null}], "runtime": "custom", "runtime_version": null, "provider": "runpod", "gpu": null, "gpu_count": null, "tensor_parallel": 1, "pipeline_parallel": 1, "replicas": {"least": 1, "most": 1}, "image": "registry.example/model-server:1", "command": ["/srv/model-server", "--model", "{model}", "--port", "{port}"], "constraint": {"enterprise": false, "single_device": false, "max_usd_per_hour": null, "regions": null, "providers": null, "min_availability": null, "interruptible": null}, "max_usd": null, "lease_s": null, "idle_s": null, "name": "ended"}','terminated',1.79607097205540704731e+09,1.79607457205540704727e+09,1800.0,5.0,1,'machine-of-0-1|18559|1796070956.270','',1796070974.61199,31,0);
CREATE TABLE conduit_meta (
	name VARCHAR(32) NOT NULL, 
	value INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "conduit_meta" VALUES('revision',31);
INSERT INTO "conduit_meta" VALUES('state',961031);
INSERT INTO "conduit_meta" VALUES('version',3);
CREATE TABLE conduit_nodes (
	name VARCHAR(64) NOT NULL, 
	deployment VARCHAR(32) NOT NULL, 
	replica INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	provider TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	owner TEXT NOT NULL, 
	created_at FLOAT NOT NULL, 
	boot_until FLOAT NOT NULL, 
	usd_per_hour FLOAT NOT NULL, 
	stopped_usd_per_hour FLOAT NOT NULL, 
	budget_usd FLOAT, 
	not_after FLOAT, 
	provider_id TEXT, 
	offering TEXT NOT NULL, 
	models TEXT NOT NULL, 
	url TEXT, 
	detail TEXT NOT NULL, 
	ready_at FLOAT, 
	missing_since FLOAT, 
	ended_at FLOAT, 
	revision INTEGER NOT NULL, 
	is_live BOOLEAN NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "conduit_nodes" VALUES('conduit-0123456789ab-fsp7yo8ybjlk-0-1','fsp7yo8ybjlk',0,1,'runpod','running','machine-of-0-1|18559|1796070956.270',1.79607096460259199142e+09,1.79607186460259199141e+09,8.62941758421917781696e-01,5.88351684383561605862e-03,2.5,1.79608139404341101644e+09,'3a26f2731c2eb6','{"id": "1x NVIDIA L40S, secure, US-KS-2", "region": "US-KS-2", "gpu": "L40S", "count": 1, "memory_gib": 44.39, "quoted_usd_per_hour": 0.8629417584219178}','["example/chat-7b"]','http://127.0.0.1:41785/proxy/3a26f2731c2eb6-8000','',1.79607096672238588331e+09,NULL,NULL,6,1);
INSERT INTO "conduit_nodes" VALUES('conduit-0123456789ab-fsp7yo8ybjlk-1-2','fsp7yo8ybjlk',1,2,'runpod','running','machine-of-0-1|18559|1796070956.270',1796070964.66333,1796071864.66333,8.62941758421917781696e-01,5.88351684383561605862e-03,2.5,1.79608139410414910323e+09,'1d4e4560080026','{"id": "1x NVIDIA L40S, secure, US-KS-2", "region": "US-KS-2", "gpu": "L40S", "count": 1, "memory_gib": 44.39, "quoted_usd_per_hour": 0.8629417584219178}','["example/chat-7b"]','http://127.0.0.1:41785/proxy/1d4e4560080026-8000','',1.79607096699869298941e+09,NULL,NULL,7,1);
INSERT INTO "conduit_nodes" VALUES('conduit-0123456789ab-n06uj1q7bjlk-0-1','n06uj1q7bjlk',0,1,'runpod','stopped','machine-of-0-1|18559|1796070956.270',1.79607096768451595302e+09,1.7960718676845159531e+09,6.82941758421917843868e-01,5.88351684383561605862e-03,1.0,1.79607623899785399435e+09,'6c51db8b65eb4d','{"id": "2x NVIDIA GeForce RTX 4090, community, OC-AU-1", "region": "OC-AU-1", "gpu": "RTX 4090", "count": 2, "memory_gib": 23.52, "quoted_usd_per_hour": 0.6829417584219178}','["example/batch-70b"]','http://127.0.0.1:41785/proxy/6c51db8b65eb4d-8000','',1.79607096988984799379e+09,NULL,NULL,26,1);
INSERT INTO "conduit_nodes" VALUES('conduit-0123456789ab-kdegu52kbjlk-0-1','kdegu52kbjlk',0,1,'local','running','machine-of-0-1|18559|1796070956.270',1796070970.6046,1796071090.6046,0.0,0.0,NULL,NULL,'cfdedef8c7ac0d16','{"id": "CPU", "region": null, "gpu": null, "count": 1, "memory_gib": 15.016349792480469, "quoted_usd_per_hour": 0.0}','["HuggingFaceTB/SmolLM2-135M-Instruct"]','http://127.0.0.1:58569','',1.79607097184215688703e+09,NULL,NULL,17,1);
INSERT INTO "conduit_nodes" VALUES('conduit-0123456789ab-uvet3zh5bjlk-0-1','uvet3zh5bjlk',0,1,'runpod','terminated','machine-of-0-1|18559|1796070956.270',1.79607097208354806903e+09,1.79607187208354806898e+09,1.99294175842191778613e+00,5.88351684383561605862e-03,3.99999999999999911182e+00,1.79607819758320903782e+09,'508d740b9926ae','{"id": "1x AMD Instinct MI300X OAM, secure, EU-RO-1", "region": "EU-RO-1", "gpu": "MI300X", "count": 1, "memory_gib": 190.98, "quoted_usd_per_hour": 1.9929417584219178}','["example/ended"]','http://127.0.0.1:41785/proxy/508d740b9926ae-8000','',1.79607097418541789054e+09,NULL,1.79607097458233404153e+09,30,0);
CREATE UNIQUE INDEX conduit_one_live_deployment ON conduit_deployments (installation, "key") WHERE is_live;
CREATE INDEX ix_conduit_deployments_revision ON conduit_deployments (revision);
CREATE INDEX ix_conduit_nodes_revision ON conduit_nodes (revision);
CREATE INDEX ix_conduit_nodes_deployment ON conduit_nodes (deployment);
CREATE UNIQUE INDEX conduit_one_live_replica ON conduit_nodes (deployment, replica) WHERE is_live;
CREATE INDEX ix_conduit_charges_node ON conduit_charges (node);
CREATE INDEX ix_conduit_charges_deployment ON conduit_charges (deployment);
COMMIT;
