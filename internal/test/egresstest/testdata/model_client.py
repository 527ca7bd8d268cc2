import os, sys, httpx

key = os.environ["OPENAI_API_KEY"]
client = httpx.Client(http2=True, limits=httpx.Limits(keepalive_expiry=None), headers={"Authorization": "Bearer " + key})
for line in sys.stdin:
    messages = {"stream": True, "messages": [{"role": "user", "content": "my key is " + key}]}
    with client.stream("POST", line.strip(), json=messages) as response:
        events = [event for event in response.iter_lines() if event.strip()]
    print(response.status_code, *(event.strip() for event in events), flush=True)
