package proxy

import (
	"cmp"
	"time"
)

// Limits limit what the clients of a resource can take of the broker.
type Limits struct {
	Connections int           // open connections of clients; 0: 1,024
	Servers     int           // open connections to servers; 0: Connections and 512, which is how many stay open for later requests
	Requests    int           // requests at the same time; 0: 4 times Connections
	Streams     int           // requests at the same time on one HTTP/2 connection; 0: 250
	Header      int           // bytes of a request's header; 0: 128 KiB
	Response    int           // bytes of a response's header; 0: 256 KiB
	Handshake   time.Duration // until the client has sent a request's header, or its part of a TLS handshake; 0: 20 s
	Body        time.Duration // until the next bytes of a request's body, except for HTTP/2 requests without a length; 0: 2 min
	Idle        time.Duration // of a connection between requests; 0: 3 min
	Tunnel      time.Duration // without a byte in either direction, of a connection that isn't decrypted; 0: 1 h
}

func (l Limits) connections() int         { return cmp.Or(l.Connections, 1024) }
func (l Limits) servers() int             { return cmp.Or(l.Servers, l.connections()+keptInAll) }
func (l Limits) requests() int            { return cmp.Or(l.Requests, 4*l.connections()) }
func (l Limits) streams() int             { return cmp.Or(l.Streams, 250) }
func (l Limits) header() int              { return cmp.Or(l.Header, 128<<10) }
func (l Limits) response() int64          { return int64(cmp.Or(l.Response, 256<<10)) }
func (l Limits) handshake() time.Duration { return cmp.Or(l.Handshake, 20*time.Second) }
func (l Limits) body() time.Duration      { return cmp.Or(l.Body, 2*time.Minute) }
func (l Limits) idle() time.Duration      { return cmp.Or(l.Idle, 3*time.Minute) }
func (l Limits) tunnel() time.Duration    { return cmp.Or(l.Tunnel, time.Hour) }

// silentClient is how long a client may be silent at first until the proxy assumes a protocol in which the server begins.
const silentClient = 5 * time.Second
