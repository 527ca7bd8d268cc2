package proxy

import (
	"context"
	"net"
	"net/http"
	"time"
)

// connect serves a CONNECT request.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // the client may have sent the first bytes of the connection already
	t := &tunnel{}
	refuse := func(why *Refusal) {
		event := s.eventOf(t)
		event.StatusCode = why.status()
		s.record(event, why)
		why.write(w)
	}
	var err error
	if t.to, err = parseDestination(r.RequestURI); err != nil || t.to.port == 0 || r.ProtoMajor != 1 {
		refuse(&Refusal{Status: http.StatusBadRequest, Reason: reasonRequest, Message: "want CONNECT HOST:PORT with a host's name or IP address"})
		return
	}
	// Without rules for it, the connection isn't decrypted: only this answer can say why it is refused.
	if t.to.port != httpPort && !s.Set().decrypts(t.to) {
		if why := s.connectUpstream(r.Context(), t); why != nil {
			refuse(why)
			return
		}
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if t.upstream != nil {
			_ = t.upstream.Close()
		}
		refuse(&Refusal{Status: http.StatusInternalServerError, Reason: reasonRequest, Message: "the connection can't be used for CONNECT"})
		return
	}
	t.Conn = client
	if n := buffered.Reader.Buffered(); n > 0 {
		ahead, _ := buffered.Reader.Peek(n)
		t.ahead = append(t.ahead, ahead...)
	}
	_ = client.SetDeadline(time.Now().Add(s.Limits.handshake()))
	if _, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = t.Close()
		return
	}
	s.run(r.Context(), t)
}

// redirected serves a connection that the kernel has redirected to the transparent proxy.
func (s *Server) redirected(ctx context.Context, client net.Conn) {
	at, err := originalDestination(plain(client))
	if err != nil {
		if _, ok := s.connectionLog.allow(); ok {
			s.Log.Warn().Err(err).Msg("connection refused: its original destination is not known")
		}
		_ = client.Close()
		return
	}
	t := &tunnel{Conn: client, at: at, to: destination{port: at.port}}
	s.run(ctx, t)
}
