import os, sys, requests

session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["API_TOKEN"]
for line in sys.stdin:
    response = session.get(line.strip())
    print(response.status_code, response.text.strip(), flush=True)
