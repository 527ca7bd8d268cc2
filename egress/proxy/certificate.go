package proxy

import (
	"net"
	"net/http"
	"strconv"
)

// certificatePath is where a listener for clients of an HTTP proxy serves the certificate of the resource's authority.
const certificatePath = "/ca.pem"

// serveCertificate answers a request to the proxy itself: GET of exactly this path, with the listener's own address as its host. It
// reports whether r is one. The certificate is no secret, and clients that can send this could use the proxy too.
//
// While the resource has no set, the answer has the header Proxy-Status of a refusal.
func (s *Server) serveCertificate(w http.ResponseWriter, r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if r.Method != http.MethodGet || r.RequestURI != certificatePath || local == nil || r.Host != local.String() {
		return false
	}
	h, text := w.Header(), s.Authority.PEM()
	h.Set("Content-Type", "application/x-pem-file")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	if why := s.Set().absent(); why != nil {
		h.Set("Proxy-Status", why.proxyStatus())
	}
	_, _ = w.Write(text)
	return true
}
