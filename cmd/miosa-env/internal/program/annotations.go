package program

import "time"

// NoResource marks commands that manage a tenant's secrets: they have no use for a sandbox's id or an
// agent's socket.
const NoResource = "no resource"

// NoConnection marks commands that speak to no vault.
const NoConnection = "no connection"

// CompletionPatience is how long a shell waits for what it could offer.
const CompletionPatience = 1500 * time.Millisecond
