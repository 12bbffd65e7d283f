import sys, time, pickle
from launchers.local_ranks import run_here
def go(w):
    from pipeline.calibrate import this_cluster, measure_all
    from embeddings.planner.micro_plans import micro_plans
    c=this_cluster(w)
    plans=list(micro_plans(c,8192))
    t=time.time()
    m=measure_all(plans,w,rounds=3,repeats=3,whole=False,heard=lambda a,b: print(a,b,round(time.time()-t,1),flush=True) if w.rank==0 and b%10==0 else None)
    return c,plans,m
if __name__=="__main__":
    r=run_here(go,2)
    pickle.dump(r,open("/tmp/cal.pkl","wb"))
