"""The ways of messages and publications through this room, as a drawing; it holds no code.

A test compares the drawing with the calls that really happen (`tests/mqtt/test_link.py`).

The ways of a message, from its socket to `Link.receive`. Indented calls are made by the call above,
in this order; calls that do not carry the message are left out. "Known" means that an earlier
packet had the same topic and length, and no flag (DUP, RETAIN). After `Inbox.take` a turn with
messages at QoS 1 goes through `Redelivery.take`, which drops repeats and marks the backlog after a
reconnect.

Way A, fast client, one known message at QoS 0 alone in one recv:

    Link.receive
      Link._serve                                     polls both sockets
        Connection.read                               of the subscribing connection
          FastClient.read_packets                     recv, appends to Inbox.messages
      Inbox.take

Way B, fast client, all other messages at QoS 0 and 1 that do not need way C:

    Link.receive
      Link._serve
        Connection.read
          FastClient.read_packets                     recv
            PacketReader.parse                        called by `feed` if a packet is incomplete
              PacketReader._parse_publishes           appends to Inbox.messages
      Inbox.take

Way C, fast client, packets for paho: a payload too large, an invalid topic, the broker's counter of
dropped messages, MQTT 5 properties seen for the first time, QoS 2, malformed packets:

    Link.receive
      Link._serve
        Connection.read
          FastClient.read_packets
            PacketReader.parse
              PacketReader._parse_publishes           stops at this packet
              PacketReader._parse_other
                FastClient._pass_to_paho              callback pass_to_paho
                  Client.loop_read                    of paho
                    FastClient._sock_recv             overrides paho's read from the socket
                    guard.<locals>.guarded            callback on_message
                      store_message
                        Inbox.add
      Inbox.take

Way D, plain paho (`broker.fast_path: false`, or a version of paho that was not tested):

    Link.receive
      Link._serve
        Connection.read
          PahoClient.read_packets
            Client.loop_read                          of paho
              guard.<locals>.guarded                  callback on_message
                store_message
                  Inbox.add
      Inbox.take

`Inbox.accepts_size` decides for all four ways whether a payload is too large: for A and B once for
each packet layout, when it is learnt.

The ways of a publication, from `Link.publish` to its socket.
Way E, fast client, only QoS 0 and topics published before, nothing waits:

    Link.publish
      Connection.send                                 of the publishing connection
        FastClient.send_at_once
          FastClient._send                            send

Way F, fast client, everything else:

    Link.publish
      Connection.send
        FastClient.send_at_once                       returns None, unless the outbox is in use
        Outbox.add
        Connection.pump
          Outbox.next_batch
          FastClient.send_publications
            FastClient._send                          send; paho queues what the socket refuses
          Outbox.mark_sent
          Outbox.next_batch                           empty, or again from here

Way G, plain paho:

    Link.publish
      Connection.send
        PahoClient.send_at_once                       returns None
        Outbox.add
        Connection.pump
          Outbox.next_batch
          PahoClient.send_publications
            Client.publish                            of paho
          Outbox.mark_sent
          Outbox.next_batch

What stays in the outbox is sent by a later `Connection.pump`, called by `Link._serve` when the
publishing socket has an event, and by `Link._maintain`.

The ways of a PUBACK for a publication of ours. Way H, fast client; with a reason code (MQTT 5) the
packet then also goes to `_pass_to_paho`:

    Link.receive
      Link._serve
        Connection.serve_publisher                    of the publishing connection
          Connection.read
            FastClient.read_packets
              PacketReader.parse
                PacketReader._parse_publishes         stops at this packet
                PacketReader._parse_other
                  guard.<locals>.guarded              callback on_puback
                    Outbox.acknowledge
          Connection.pump
            Outbox.next_batch
      Inbox.take

Way I, plain paho:

    Link.receive
      Link._serve
        Connection.serve_publisher
          Connection.read
            PahoClient.read_packets
              Client.loop_read
                guard.<locals>.guarded                callback on_publish
                  report_published
                    guard.<locals>.guarded            callback on_puback
                      Outbox.acknowledge
          Connection.pump
            Outbox.next_batch
      Inbox.take

The ways of our PUBACKs for QoS 1 messages. Way J, fast client, and way K, plain paho:

    Link.commit
      Connection.commit                               of the subscribing connection
        FastClient.send_acks
          FastClient._send

    Link.commit
      Connection.commit
        PahoClient.send_acks
          Client.ack                                  of paho

Callbacks. `ClientLifecycle.__init__` collects them in `paho_client.Callbacks`, and
`PahoClient.__init__` sets them for every new client, each wrapped by `guard`:

    on_socket_open   ClientLifecycle._on_socket_open
    on_connect       ClientLifecycle._on_connect      at CONNACK
    on_disconnect    ClientLifecycle._on_disconnect   unset by ClientLifecycle.disconnect
    on_subscribe     ClientLifecycle._on_subscribe    at SUBACK
    on_unsubscribe   ClientLifecycle._on_unsubscribe  at UNSUBACK
    on_log           ClientLifecycle._on_log          unset by _on_connect, because it costs time
    on_message       paho_client.store_message        ways C and D
    on_publish       paho_client.report_published     way I; at QoS 0 also after sending (way G)
    on_puback        Outbox.acknowledge               ways H and I; not a callback of paho
    on_pingresp      Confirmation.on_answer           at PINGRESP; not a callback of paho

`FastClient.__init__` gives its `PacketReader` the same callbacks `on_puback` and `on_pingresp`, and
`pass_to_paho`, which is `FastClient._pass_to_paho`.
"""
