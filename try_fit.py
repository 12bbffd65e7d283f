import pickle,time
from embeddings.planner.calibration import *
from embeddings.planner.given import repriced
c,plans,ms=pickle.load(open("/tmp/cal.pkl","rb"))
t=time.time()
obs=[Observed(file=p,ms=m.ms) for p,m in zip(plans,ms)]
cl,fits=calibrate(obs,c)
print(time.time()-t)
for f in fits: print(f)
print(cl.model_dump_json(indent=1))
for p,m in zip(plans,ms):
    q=repriced(p,cl)
    tb=p.tables[0]
    a=q.perf()
    print(f"{tb.sharding_type:15} n={len(p.tables)} {tb.table.rows} {tb.table.dim} {tb.table.pooling_factor} step {m.step_ms:7.1f}±{m.step_spread:.2f} parts {m.total_ms:7.1f} pred {q.time_ms:7.1f} |", " ".join(f"{part[:10]} {max(r[part] for r in m.ms):.1f}/{a[:,i].max():.1f}" for i,part in enumerate(PARTS[:5])))
