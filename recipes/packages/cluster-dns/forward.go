package main

import (
	"time"

	"github.com/miekg/dns"
)

// forwarder asks others.
type forwarder struct{ upstreams []string }

// exchange asks each upstream in turn, by TCP too where an answer does not fit a packet.
func (forward *forwarder) exchange(question *dns.Msg) *dns.Msg {
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network, Timeout: 2 * time.Second}
		for _, upstream := range forward.upstreams {
			answer, _, err := client.Exchange(question, upstream)
			if err == nil && !(answer.Truncated && network == "udp") {
				return answer
			}
		}
	}
	return new(dns.Msg).SetRcode(question, dns.RcodeServerFailure)
}

func (forward *forwarder) handler() dns.HandlerFunc {
	return func(writer dns.ResponseWriter, question *dns.Msg) {
		answer := forward.exchange(question)
		answer.Id = question.Id
		write(writer, question, answer)
	}
}

// write sends an answer, cut to what the asker takes.
func write(writer dns.ResponseWriter, question, answer *dns.Msg) {
	size := dns.MaxMsgSize
	if writer.LocalAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if option := question.IsEdns0(); option != nil && int(option.UDPSize()) > size {
			size = int(option.UDPSize())
		}
	}
	answer.Truncate(size)
	// An asker that has gone is no fault of the server's.
	_ = writer.WriteMsg(answer)
}
