# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: ftp_list.py ADDRESS PORT passive|active [SOURCE] prints what the server says.

Its banner and its directory, as JSON.
What went wrong stands in `error`, with the stage in front.
"""

from __future__ import annotations

import ftplib
import json
import sys

TIMEOUT = 4.0


def listing(address: str, port: str, mode: str, source: str = "") -> dict[str, object]:
    said: dict[str, object] = {}
    stage = "control"
    try:
        with ftplib.FTP(timeout=TIMEOUT, source_address=(source, 0) if source else None) as ftp:
            # The address that PASV answers is the one to use: that it is the VIP is what the test is about. mypy's
            # description of ftplib lacks this attribute.
            ftp.trust_server_pasv_ipv4_address = True  # type: ignore[attr-defined]  # ftplib has it, the type stubs have not
            said["banner"] = ftp.connect(address, int(port)).removeprefix("220 ")
            ftp.login()
            ftp.set_pasv(mode == "passive")
            stage = "data"
            said["names"] = sorted(ftp.nlst())
    except (*ftplib.all_errors,) as error:
        said["error"] = f"{stage}: {error}"
    return said


if __name__ == "__main__":
    print(json.dumps(listing(*sys.argv[1:5])))
