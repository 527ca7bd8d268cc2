package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// echoService answers each message of a stream with the client's metadata, and ends with an error in the trailers.
var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{StreamName: "Both", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		for {
			var m wrapperspb.StringValue
			if err := s.RecvMsg(&m); err != nil {
				if err == io.EOF { //nolint:errorlint // as grpc documents
					return status.Error(codes.DataLoss, "the end")
				}
				return err
			}
			got := md.Get("authorization")
			answer := fmt.Sprint(len(got) == 1 && got[0] == "Bearer "+value, " ", m.GetValue(), " ", got)
			if err := s.SendMsg(wrapperspb.String(answer)); err != nil {
				return err
			}
		}
	}}},
}

// A real client of gRPC: messages pass in both directions at once, compressed or not and without the value, and the status arrives in the
// trailers.
func TestGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, proxy.Limits{})
	w.allow(host, true)
	l := listen(t)
	w.open(l)
	config := w.serverTLS()
	config.NextProtos = []string{"h2"}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	server.RegisterService(&echoService, nil)
	go server.Serve(l) // until the listener is closed
	t.Cleanup(server.Stop)

	clientTLS := w.serverTLS()
	clientTLS.RootCAs, clientTLS.ServerName = w.roots(), host
	client, err := grpc.NewClient("passthrough:///"+recorder{l}.at(host), grpc.WithTransportCredentials(credentials.NewTLS(clientTLS)),
		grpc.WithContextDialer(func(_ context.Context, to string) (net.Conn, error) {
			c, _ := w.connect(t, to)
			return c, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+placeholder), generous)
	defer cancel()
	for name, options := range map[string][]grpc.CallOption{"plain": nil, "gzip": {grpc.UseCompressor(gzip.Name)}} {
		s, err := client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Both", options...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			var got wrapperspb.StringValue
			if err := s.RecvMsg(&got); err != nil || got.GetValue() != fmt.Sprint("true ", i, " [Bearer ", masked, "]") {
				t.Fatalf("%s: got %q, %v", name, got.GetValue(), err)
			}
		}
		_ = s.CloseSend()
		if err := s.RecvMsg(new(wrapperspb.StringValue)); status.Code(err) != codes.DataLoss {
			t.Errorf("%s: the stream ended with %v", name, err)
		}
	}
}
