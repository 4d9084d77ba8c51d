(* An authoritative name server, by UDP and TCP, for the zones that `make zones` has checked. *)
open Lwt.Infix
open Cmdliner

(* Options at run time. *)

let port =
  Mirage_runtime.register_arg
    Arg.(value & opt int 53 & info [ "port" ] ~doc:"Port, by UDP and by TCP.")

let axfr =
  Mirage_runtime.register_arg
    Arg.(
      value
      & opt bool false
      & info [ "axfr" ] ~doc:"Whether anybody may transfer whole zones.")

let key =
  Mirage_runtime.register_arg
    Arg.(
      value
      & opt (some string) None
      & info [ "key" ]
          ~doc:
            "A TSIG key, as PRIMARY.SECONDARY._transfer.ZONE:SHA256:BASE64, both \
             by their IPv4 addresses: that secondary may transfer ZONE, and is \
             notified.")

let keys () =
  match key () with
  | None -> []
  | Some text -> (
      match Dns.Dnskey.name_key_of_string (String.trim text) with
      | Ok named -> [ named ]
      | Error (`Msg _) -> failwith "--key is no NAME:ALGORITHM:BASE64")

module Main (Zones : Mirage_kv.RO) (Stack : Tcpip.Stack.V4V6) = struct
  module Server = Dns_server_mirage.Make (Stack)

  let required = function
    | Ok value -> value
    | Error error -> failwith (Fmt.str "zones: %a" Zones.pp_error error)

  (* The name of a file is that of its zone: example.org.zone. *)
  let zone file =
    if Filename.check_suffix file ".zone" then Filename.chop_suffix file ".zone"
    else failwith (Fmt.str "zones/%s does not end in .zone" file)

  let read zones =
    Zones.list zones Mirage_kv.Key.empty >>= fun files ->
    Lwt_list.map_s
      (fun (key, _) ->
        Zones.get zones key >|= fun text ->
        (zone (Mirage_kv.Key.basename key), required text))
      (required files)

  let start zones stack =
    read zones >>= fun texts ->
    (* What cannot be read is logged, and left out. *)
    let _, trie = Dns_zone.decode_zones texts in
    List.iter
      (fun (name, _) ->
        match Dns_trie.lookup (Domain_name.of_string_exn name) Dns.Rr_map.Soa trie with
        | Ok _ -> ()
        | Error _ ->
            failwith (Fmt.str "zones/%s.zone is no zone: see above" name))
      texts;
    let server =
      Dns_server.Primary.create ~keys:(keys ())
        ~unauthenticated_zone_transfer:(axfr ()) ~tsig_verify:Dns_tsig.verify
        ~tsig_sign:Dns_tsig.sign ~rng:Mirage_crypto_rng.generate trie
    in
    Server.primary ~port:(port ()) stack server;
    Logs.info (fun log ->
        log "listening on %d/UDP and TCP for %d zones" (port ())
          (List.length texts));
    Stack.listen stack
end
