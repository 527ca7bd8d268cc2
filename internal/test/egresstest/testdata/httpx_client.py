import os, sys, httpx

client = httpx.Client(http2=True, limits=httpx.Limits(keepalive_expiry=None), headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]})
for line in sys.stdin:
    response = client.get(line.strip())
    print(response.status_code, response.text.strip(), flush=True)
